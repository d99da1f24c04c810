"""`ChatICDPO`: ICDPO as a LangChain chat model."""

from __future__ import annotations

from langchain_icdpo.chat_model.model import ChatICDPO

__all__ = ["ChatICDPO"]
