"""fthall: what did this fine-tuning make the model forget?"""

__version__ = "0.1.0"
