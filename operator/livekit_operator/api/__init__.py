"""The API as the user writes it: pydantic models, one module for each kind, and what is generated from them."""
