"""The folder that ``logbus run`` puts on the module path of its command: Python imports ``sitecustomize`` from it."""
