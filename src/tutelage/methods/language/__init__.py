"""Language models: taught by explanations, by data and by other models."""
