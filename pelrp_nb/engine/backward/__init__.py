"""From the target back: one backward pass, what arrived read at the leaves, the ledger put together."""
