"""How an audio language model is prompted: conversations, examples, windows of long audio."""
