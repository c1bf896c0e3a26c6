"""Pure decisions about servers: values and the time in, a plan out."""
