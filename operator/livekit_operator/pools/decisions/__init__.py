"""Pure decisions about pools: values and the time in, a plan out."""
