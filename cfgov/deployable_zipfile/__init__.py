"""Pack a Django site and all its dependencies into one self-extracting zip."""

__version__ = "1.0.0"
