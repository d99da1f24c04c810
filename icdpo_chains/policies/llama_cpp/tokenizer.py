"""`load_tokenizer`: the Hugging Face tokenizer of a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icdpo_chains.errors import PolicyError

__all__ = ["load_tokenizer"]


def load_tokenizer(given: str | Path | None, file: Path) -> Any:
    """Returns a tokenizer by its name, or builds it from a GGUF file's metadata by transformers.

    Args:
        given: a hub name or a directory.
        file: the GGUF file.

    Raises:
        PolicyError: the tokenizer can't be loaded or built.
    """
    from transformers import PreTrainedTokenizerFast

    from icdpo_chains.packaged_models.download import load_gguf_tokenizer
    from icdpo_chains.packaged_models.gguf_cache import converted_tokenizer
    from icdpo_chains.packaged_models.manifest import MANIFEST

    try:
        directory = converted_tokenizer(file) if given is None else Path(given)
        if directory is not None and (directory / MANIFEST).is_file():
            # A directory of the cache is complete. AutoTokenizer would also import the model's code, for a
            # second; without added_tokens_decoder, tokenizer.json would be parsed once more, in Python, for
            # the added tokens that the backend has read from it.
            tokenizer = PreTrainedTokenizerFast.from_pretrained(str(directory), added_tokens_decoder={})
        elif given is not None:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(str(given), trust_remote_code=False)
        else:
            tokenizer = load_gguf_tokenizer(file)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise PolicyError(
            f"the tokenizer of {given or file} can't be loaded: {str(error).rstrip('.')}. Give the model's "
            "own as tokenizer (a hub name or a directory)"
        ) from error
    return tokenizer
