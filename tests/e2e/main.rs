//! End-to-end tests: the real programs against a simulated plant.
