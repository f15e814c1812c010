"""post: the targets uploadall, rehearse and deploy, and certificates that follow an upload when they have changed."""

from inspect import currentframe
from pathlib import Path
from runpy import run_path

Import("env")
# SCons gives a script no __file__ (F34).
folder = Path(currentframe().f_code.co_filename).resolve().parent
run_path(str(folder / "_load.py"))["attach"]("ship", env, folder)
