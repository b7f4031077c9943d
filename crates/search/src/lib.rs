//! How we choose: strategies, budgets, the runner and the Pareto front.
