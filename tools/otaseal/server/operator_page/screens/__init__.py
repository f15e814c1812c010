"""What each address of the page shows and does, a module for each screen; `app` says which is asked for what."""
