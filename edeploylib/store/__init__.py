"""Where decisions become facts: the operator's files and the ledger.

    with store.transaction('10.0.0.7') as world:
        decision = select(inventory, world)
        world.commit(decision)

Nobody else decides between the two lines; what is not committed has not happened.
"""

from edeploylib.store.files import FileStore
from edeploylib.store.memory import MemoryStore
from edeploylib.store.protocol import Store, Transaction

__all__ = ['FileStore', 'MemoryStore', 'Store', 'Transaction']
