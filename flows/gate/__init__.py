"""The gate: may this model take the champion's place? What is asked, decided, kept and shown."""
