"""`ganmill status`: how the mill is, looked at by short questions and shown on one screen."""
