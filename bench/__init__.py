"""`python -m bench`: how fast this is on this machine, next to what the machine could do at best. Every run is checked."""
