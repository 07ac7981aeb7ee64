"""edeploy decides what a blank server becomes, by its hardware."""

__version__ = '0.1.0'
