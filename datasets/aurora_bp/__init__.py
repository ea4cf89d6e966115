"""Aurora-BP: lead I of a wearable, beside measurements of blood pressure."""
