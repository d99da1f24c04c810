"""The paper's comparison: ICDPO beside the base model, few-shot prompting, fine-tuning and reward models."""
