"""Tests in the style of pytest, with what they use of it: a right and a wrong program for each."""

from __future__ import annotations

from typing import Any

KINDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "mock.patch of the program's names": (
        {
            "tests": """from unittest.mock import patch
import solution
def test_patch():
    with patch('solution.time.time', return_value=41.9):
        assert solution.stamp() == 42
@patch.object(solution, 'time')
def test_object(fake):
    fake.time.return_value = 9
    assert solution.stamp() == 10
    fake.time.assert_called_once_with()
"""
        },
        """import time
def stamp():
    return int(time.time()) + 1
""",
        """import time
def stamp():
    return int(time.time())
""",
    ),
    "mocks as arguments": (
        {
            "tests": """from unittest.mock import Mock, call
def test_mock():
    db = Mock()
    db.commit.return_value = True
    assert save(db, [1, 2]) is True
    db.put.assert_any_call(1, kind='x')
    db.put.assert_called_with(2, kind='x')
    assert db.put.call_count == 2
    assert db.mock_calls == [call.put(1, kind='x'), call.put(2, kind='x'), call.commit()]
"""
        },
        """def save(db, items):
    for i in items: db.put(i, kind='x')
    return db.commit()
""",
        """def save(db, items):
    for i in items: db.put(i)
    return db.commit()
""",
    ),
    "parametrize with ids and marks": (
        {
            "tests": """import pytest
@pytest.mark.parametrize('a', [1, 2])
@pytest.mark.parametrize('b, c', [pytest.param(0, 0, id='zero'), (3, 3)])
def test_add(a, b, c):
    assert add(a, b) == a + c
"""
        },
        """def add(a, b): return a + b
""",
        """def add(a, b): return a - b
""",
    ),
    "pytest fixtures": (
        {
            "tests": """import pytest
from solution import Cart
@pytest.fixture
def cart():
    c = Cart()
    c.add(5)
    yield c
    c.items.clear()
def test_total(cart):
    assert cart.total() == 5
def test_more(cart):
    cart.add(2)
    assert cart.total() == 7
"""
        },
        """class Cart:
    def __init__(self): self.items = []
    def add(self, x): self.items.append(x)
    def total(self): return sum(self.items)
""",
        """class Cart:
    def __init__(self): self.items = []
    def add(self, x): self.items.append(x)
    def total(self): return len(self.items)
""",
    ),
    "capsys": (
        {
            "tests": """def test_out(capsys):
    hello('Bo')
    assert capsys.readouterr().out == 'Hello, Bo!\\n'
"""
        },
        """def hello(n): print(f'Hello, {n}!')
""",
        """def hello(n): print(f'Hello {n}')
""",
    ),
    "tmp_path": (
        {
            "tests": """def test_file(tmp_path):
    f = tmp_path / 'a.txt'
    f.write_text('a b c')
    assert count(f) == 3
"""
        },
        """def count(p):
    return len(open(p).read().split())
""",
        """def count(p):
    return len(open(p).read())
""",
    ),
    "monkeypatch": (
        {
            "tests": """def test_env(monkeypatch):
    monkeypatch.setenv('HOME_DIR', '/me')
    assert home() == '/me/x'
    monkeypatch.delenv('HOME_DIR')
    assert home() == '//x'
"""
        },
        """import os
def home(): return os.environ.get('HOME_DIR', '/') + '/x'
""",
        """import os
def home(): return '/x'
""",
    ),
    "pytest.warns": (
        {
            "tests": """import pytest
def test_warns():
    with pytest.warns(DeprecationWarning, match='new'):
        assert old(3) == 3
"""
        },
        """import warnings
def old(x):
    warnings.warn('use new', DeprecationWarning)
    return x
""",
        """def old(x):
    return x
""",
    ),
    "caplog": (
        {
            "tests": """def test_log(caplog):
    work(3)
    assert 'n=3' in caplog.text
    assert caplog.records[0].levelname == 'WARNING'
"""
        },
        """import logging
def work(n):
    logging.getLogger('w').warning('n=%d', n)
""",
        """def work(n): pass
""",
    ),
    "fixture params and request": (
        {
            "tests": """import pytest
@pytest.fixture(params=[1, 2, 3])
def n(request): return request.param
def test_sq(n):
    assert sq(n) == n ** 2
"""
        },
        """def sq(n): return n * n
""",
        """def sq(n): return n + n
""",
    ),
    "fixtures that use fixtures, module scope": (
        {
            "tests": """import pytest
from solution import A
@pytest.fixture(scope='module')
def base(): return {'x': 5}
@pytest.fixture
def a(base): return A(base)
@pytest.fixture(autouse=True)
def reset(base):
    base['x'] = 5
    yield
    base['x'] = 0
class TestA:
    def test_get(self, a):
        assert a.get() == 5
    def test_change(self, a, base):
        base['x'] = 7
        assert a.get() == 7
"""
        },
        """class A:
    def __init__(self, b): self.b = b
    def get(self): return self.b['x']
""",
        """class A:
    def __init__(self, b): self.b = b
    def get(self): return 0
""",
    ),
    "setup_method and class attributes": (
        {
            "tests": """from solution import S
class TestS:
    LIMIT = 2
    def setup_method(self, method):
        self.s = S()
        self.s.push(1)
    def teardown_method(self):
        self.s = None
    def test_peek(self):
        self.s.push(self.LIMIT)
        assert self.s.peek() == 2
    def test_one(self):
        assert self.s.peek() == 1
"""
        },
        """class S:
    def __init__(self): self.xs = []
    def push(self, x): self.xs.append(x)
    def peek(self): return self.xs[-1]
""",
        """class S:
    def __init__(self): self.xs = []
    def push(self, x): self.xs.append(x)
    def peek(self): return self.xs[0]
""",
    ),
    "marks: skip, skipif, xfail": (
        {
            "tests": """import pytest, sys
@pytest.mark.skip(reason='no')
def test_skip():
    assert f(1) == 99
@pytest.mark.skipif(sys.version_info > (3,), reason='new')
def test_if():
    assert f(1) == 99
@pytest.mark.xfail
def test_x():
    assert f(1) == 99
@pytest.mark.slow
@pytest.mark.parametrize('a,b', [(1, 2), (5, 6)], ids=['x', 'y'])
def test_ok(a, b):
    assert f(a) == b
"""
        },
        """def f(n): return n + 1
""",
        """def f(n): return n
""",
    ),
    "monkeypatch of attributes and items": (
        {
            "tests": """import random, solution
def test_attr(monkeypatch):
    monkeypatch.setattr(random, 'randint', lambda a, b: b)
    assert solution.roll() == 6
    monkeypatch.setitem(solution.CONF, 'n', 20)
    assert solution.roll() == 20
def test_dotted(monkeypatch):
    monkeypatch.setattr('solution.random.randint', lambda a, b: a)
    assert solution.roll() == 1
    monkeypatch.setattr('builtins.input', lambda *a: 'x')
    assert input() == 'x'
"""
        },
        """import random
CONF = {'n': 6}
def roll(): return random.randint(1, CONF['n'])
""",
        """import random
CONF = {'n': 6}
def roll(): return 3
""",
    ),
    "monkeypatched stdin": (
        {
            "tests": """import io, sys
def test_in(monkeypatch, capsys):
    monkeypatch.setattr('sys.stdin', io.StringIO('1 2 3'))
    print(total())
    assert capsys.readouterr().out.strip() == '6'
    assert capsys.readouterr().out == ''
"""
        },
        """import sys
def total(): return sum(map(int, sys.stdin.read().split()))
""",
        """import sys
def total(): return 0
""",
    ),
}
"""Name -> fields of the problem, right program, wrong program."""
