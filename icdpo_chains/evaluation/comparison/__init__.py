"""The paper's comparison: ICDPO, the base model, few-shot prompting, fine-tuning and reward models."""
