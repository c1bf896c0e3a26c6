"""How pools answer: warm, from nothing, many calls at once, demand, a lost agent; and what it costs to be ready."""
