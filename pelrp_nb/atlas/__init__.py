"""The atlas: every architecture of transformers, built tiny, explained once, and what came of it in one table.

python -m pelrp_nb atlas                    all of them
python -m pelrp_nb atlas llama              one of them again
"""
