"""Make the documents: figures, tables, traces, the card of the model."""
