"""Aurora-BP: lead I of a wearable device during blood pressure measurements."""
