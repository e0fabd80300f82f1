"""The application core: services, ports, adapters, cryptography. No web or functions framework."""

import os

# Pydantic would look for plugins in all that is installed, which makes a start longer, and run them: what
# checks our input must be ours alone.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
