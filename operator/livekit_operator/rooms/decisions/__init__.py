"""Pure decisions about rooms: values and the time in, a plan out."""
