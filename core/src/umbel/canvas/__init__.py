"""Signatures and what is composed of them, planned into the calls to publish and joined again by set."""
