"""`python -m bench.growth`: what a full database costs, next to an almost empty one. Plans are in `plans`, and tested."""
