"""How long what is stored is kept, who may not delete it, and how it goes for ever."""
