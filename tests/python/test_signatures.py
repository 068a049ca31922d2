"""The signatures that the Rust tests are held against are still what botocore says."""

import json

from sign_with_botocore import VECTORS, vectors


def test_the_recorded_signatures_are_botocores():
    assert json.loads(VECTORS.read_text()) == vectors()
