"""What happens inside a training: facts as examples, losses, teachers, the optimiser, the one Trainer."""
