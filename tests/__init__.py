import pytest

pytest.register_assert_rewrite("tests.support")  # a failed assert says the values there too
