"""Ways to fine-tune: losses, one Trainer, and the stage that makes a run."""
