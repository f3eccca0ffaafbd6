"""Generation: few-step students of diffusion and flow models."""
