"""`ganmill doctor`: whether everything is in place, and what to type where it is not.

Each check looks at one thing and returns findings. None of them creates or changes anything but a
temporary file that it removes; none needs another one, so that what is broken hides nothing else.
"""
