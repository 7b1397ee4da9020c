"""Many inputs one after the other: explained with bounded memory, and kept in folders of Parquet shards."""
