"""What each endpoint of the operators' interface does, a module for each noun; `app` says which is called for what."""
