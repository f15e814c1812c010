"""What PlatformIO's builds call: each module here has one `attach(env)`, and an extra script calls it.

Attaching declares SCons nodes and targets and does no work (F33): a mistake in the options stops the build at once, and
everything else fails in the action that needs it. Standard library only until an action runs.
"""
