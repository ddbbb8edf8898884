"""Honest programs, and wrong ones, against test code of every style that shares their process."""

from __future__ import annotations

from rltf.problems.problem import TestSuite
from tests.support.together_kinds import KINDS
from tests.support.together_pytest import KINDS as PYTEST_KINDS
from tests.support.together_styles import by_styles, suite_of

_STACK = """
class Empty(Exception):
    pass

class Stack:
    def __init__(self, *items):
        self.items = list(items)
    def push(self, item):
        self.items.append(item)
        return self
    def pop(self):
        if not self.items:
            raise Empty('nothing there')
        return self.items.pop()
    def __len__(self):
        return len(self.items)
    def __iter__(self):
        return reversed(self.items)
    def __eq__(self, other):
        return isinstance(other, Stack) and self.items == other.items
    def __add__(self, other):
        return Stack(*self.items, *other.items)
    def __contains__(self, item):
        return item in self.items
    def __repr__(self):
        return f'Stack{tuple(self.items)}'
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self.items.clear()
        return False
    def __lt__(self, other):
        return len(self) < len(other)
    def __bool__(self):
        return bool(self.items)
    def __getitem__(self, index):
        return self.items[-1 - index]
    @property
    def top(self):
        return self.items[-1]
    @classmethod
    def of(cls, text):
        return cls(*text)
    @staticmethod
    def empty():
        return Stack()
"""
_SHOP = """
import random, sys, warnings, json, os
from datetime import date
from decimal import Decimal
from collections import deque

def greet(name):
    print('Hello', name)
    return None
def ask():
    return int(input('n? ')) * 2
def rotate(xs, k):
    xs[:] = xs[-k:] + xs[:-k]
def twice(f, x):
    return f(f(x))
def total(items):
    return sum(items)
def copy_of(xs):
    return [list(x) if isinstance(x, list) else x for x in xs]
def same(xs):
    xs.append(1)
    return xs
def parse(text):
    return date.fromisoformat(text)
def price(text):
    return Decimal(text)
def tail(n, xs):
    return deque(xs, maxlen=n)
def fail(kind, *args):
    raise kind(*args)
def read(text):
    return json.loads(text)
def noisy():
    warnings.warn('old', DeprecationWarning)
    return 1
def roll():
    return random.randint(1, 6)
def setting():
    return os.environ.get('MODE', 'none')
def counter():
    count = 0
    def more():
        nonlocal count
        count += 1
        return count
    return more
def numbers(n):
    for i in range(n):
        yield i
def apply(fn, *args, **kwargs):
    return fn(*args, **kwargs)
async def later(x):
    return x + 1
def remember(fn):
    calls = []
    def inner(*args):
        calls.append(args)
        return fn(*args)
    inner.calls = calls
    return inner
def err(text):
    print(text, file=sys.stderr)
"""
SPECIAL: dict[str, tuple[str, list[str]]] = {
    "stack": (
        _STACK,
        [
            "s = Stack()\nassert not s and len(s) == 0\ns.push(1).push(2)\nassert len(s) == 2 and s.pop() == 2 and list(s) == [1]",
            "assert Stack(1, 2) == Stack(1, 2)\nassert Stack(1) != Stack(2)\nassert Stack(1) + Stack(2) == Stack(1, 2)",
            "assert repr(Stack(1, 2)) == 'Stack(1, 2)' and str(Stack(3, 'a')) == \"Stack(3, 'a')\"",
            "try:\n    Stack().pop()\n    assert False, 'no exception'\nexcept Empty as e:\n    assert str(e) == 'nothing there'",
            "raised = False\ntry:\n    Stack().pop()\nexcept Empty:\n    raised = True\nassert raised",
            "with Stack(1) as s:\n    assert 1 in s and 2 not in s\nassert len(s) == 0",
            "assert sorted([Stack(1, 2), Stack(1)])[0] == Stack(1)\nassert max(Stack(), Stack(1)).top == 1",
            "assert isinstance(Stack.of('ab'), Stack) and Stack.of('ab').top == 'b'\nassert Stack.empty() is not Stack.empty()",
            "assert issubclass(Empty, Exception) and not issubclass(Empty, ValueError)",
            "assert Stack(1, 2, 3)[0] == 3 and [x for x in Stack(1, 2)] == [2, 1]",
            "class Loud(Stack):\n    def push(self, item):\n        return super().push(str(item).upper())\nassert Loud().push('a').top == 'A'",
            "import copy, pickle\na = Stack([1])\nb = copy.deepcopy(a)\nb.top.append(2)\nassert a == Stack([1]) and b != a",
            "assert hasattr(Stack, 'push') and callable(Stack().pop) and not hasattr(Stack(), 'nothing')",
            "s = Stack(1)\ns.extra = 5\nassert s.extra == 5 and vars(s)['items'] == [1]\nsetattr(s, 'items', [9])\nassert s.top == 9",
        ],
    ),
    "shop": (
        _SHOP,
        [
            "import contextlib, io\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n    assert greet('Ann') is None\nassert out.getvalue() == 'Hello Ann\\n'",
            "from unittest.mock import patch\nwith patch('builtins.input', return_value='21') as asked:\n    assert ask() == 42\nasked.assert_called_once_with('n? ')",
            "import io\nfrom unittest import mock\n@mock.patch('sys.stdout', new_callable=io.StringIO)\ndef check_it(out):\n    greet('Bo')\n    assert out.getvalue().strip() == 'Hello Bo'\ncheck_it()",
            "import sys, io\nold = sys.stdin\nsys.stdin = io.StringIO('4\\n')\ntry:\n    assert ask() == 8\nfinally:\n    sys.stdin = old",
            "xs = [1, 2, 3]\nassert rotate(xs, 1) is None\nassert xs == [3, 1, 2]",
            "assert twice(lambda x: x * 3, 2) == 18 and twice(str.upper, 'a') == 'A'",
            "assert total(range(5)) == 10 and total(iter([1, 2])) == 3 and total(x for x in [4]) == 4 and total({1, 2}) == 3",
            "a = [[1], 2]\nb = copy_of(a)\nassert b == a and b is not a and b[0] is not a[0]",
            "x = []\nassert same(x) is x and x == [1]",
            "import datetime\nassert parse('2024-03-01') == datetime.date(2024, 3, 1)\nassert (parse('2024-03-02') - parse('2024-03-01')).days == 1",
            "from decimal import Decimal\nassert price('1.10') == Decimal('1.10')\nassert price('2.5') > 2 and price('2') == 2",
            "from collections import deque\nassert tail(2, 'abc') == deque(['b', 'c'])\nassert tail(1, [1]).maxlen == 1",
            "for kind in (KeyError, ValueError, OSError):\n    try:\n        fail(kind, 'x')\n    except kind as error:\n        assert error.args == ('x',)\n    else:\n        assert False",
            "import json\ntry:\n    read('{')\n    assert False\nexcept json.JSONDecodeError as error:\n    assert error.pos == 1",
            "import warnings\nwith warnings.catch_warnings(record=True) as seen:\n    warnings.simplefilter('always')\n    assert noisy() == 1\nassert len(seen) == 1 and issubclass(seen[0].category, DeprecationWarning)",
            "import random\nrandom.seed(3)\none = roll()\nrandom.seed(3)\nassert roll() == one and 1 <= one <= 6",
            "import os\nfrom unittest.mock import patch\nwith patch.dict(os.environ, {'MODE': 'test'}):\n    assert setting() == 'test'\nassert setting() == 'none'",
            "more = counter()\nassert [more(), more(), more()] == [1, 2, 3]\nassert counter()() == 1",
            "gen = numbers(3)\nassert next(gen) == 0 and list(gen) == [1, 2]\nimport types\nassert isinstance(numbers(1), types.GeneratorType)",
            "assert apply(max, 1, 5, key=lambda v: -v) == 1 and apply(dict, a=1) == {'a': 1}",
            "import asyncio\nassert asyncio.run(later(2)) == 3",
            "@remember\ndef add(a, b):\n    return a + b\nassert add(1, 2) == 3 and add.calls == [(1, 2)]",
            "import inspect\nassert list(inspect.signature(twice).parameters) == ['f', 'x'] and twice.__name__ == 'twice'",
            "class Item:\n    def __init__(self, v):\n        self.v = v\n    def __eq__(self, o):\n        return self.v == o.v\n    def __radd__(self, o):\n        return o + self.v\nassert total([Item(1), Item(2)]) == 3\nassert apply(Item, 3) == Item(3)",
            "import math\nassert math.isclose(total([0.1, 0.2]), 0.3) and abs(total([0.1] * 3) - 0.3) < 1e-9",
            "import numpy as np\nassert np.array_equal(np.array(apply(list, (1, 2))), [1, 2])\nnp.testing.assert_allclose(apply(np.array, [1.0]), [1.0])",
            "expected = 0\nfor i in range(100):\n    expected += i\nassert total(range(100)) == expected",
            "assert {total([1]), total([2])} == {1, 2} and total([]) in (0, None) and total([3]) not in [4]",
            "assert all(total([n, n]) == 2 * n for n in range(5)) and any(total([n]) > 3 for n in range(5))",
            "assert not total([]) and total([1]) and total([5]) >= 5 and 1 < total([2]) <= 2",
            "import contextlib, io\nout = io.StringIO()\nwith contextlib.redirect_stderr(out):\n    err('oops')\nassert 'oops' in out.getvalue()",
            "from unittest.mock import Mock, call\nfn = Mock(side_effect=[1, 2])\nassert apply(fn, 7) == 1\nassert fn.call_args_list == [call(7)]",
            "assert sorted(numbers(3), reverse=True) == [2, 1, 0] and [*numbers(2)] == [0, 1] and dict(enumerate(numbers(1))) == {0: 0}",
            "assert (lambda r: r[0] + r[-1])(copy_of([1, 2, 3])) == 4",
            "import threading\nfound = []\nt = threading.Thread(target=lambda: found.append(total([1, 2])))\nt.start(); t.join()\nassert found == [3]",
        ],
    ),
}
_UNITTESTS = {
    "stack, methods": (
        _STACK,
        """
import unittest
from unittest import TestCase
import stack
from stack import *

class Base(TestCase):
    def setUp(self):
        self.stack = Stack(1, 2)
    def tearDown(self):
        self.assertIsNotNone(self.stack)

class StackTest(Base):
    @classmethod
    def setUpClass(cls):
        cls.limit = 3
    def test_pop(self):
        self.assertEqual(self.stack.pop(), 2, 'top')
        self.assertEqual(len(self.stack), 1)
        self.assertTrue(self.stack)
        self.assertFalse(Stack())
    def test_errors(self):
        with self.assertRaises(Empty) as caught:
            Stack().pop()
        self.assertEqual(str(caught.exception), 'nothing there')
        self.assertRaises(Empty, Stack().pop)
        with self.assertRaisesRegex(stack.Empty, 'noth'):
            Stack().pop()
        with self.assertRaises((IndexError, TypeError)):
            self.stack['a']
    def test_kinds(self):
        self.assertIsInstance(self.stack, Stack)
        self.assertNotIsInstance(self.stack, list)
        self.assertIn(1, self.stack)
        self.assertNotIn(7, self.stack)
        self.assertIs(self.stack.push(5), self.stack)
        self.assertListEqual(list(self.stack), [5, 2, 1])
        self.assertCountEqual(self.stack, [1, 2, 5])
        self.assertGreater(len(self.stack), 2)
        self.assertLessEqual(len(self.stack), self.limit)
        self.assertAlmostEqual(len(self.stack) / 7, 0.4286, places=4)
        self.assertRegex(repr(self.stack), r'^Stack')
        self.assertNotEqual(self.stack, Stack())
        self.assertDictEqual({'n': len(self.stack)}, {'n': 3})
    def test_subtests(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertEqual(len(Stack(*range(n))), n)
    @unittest.skip('not today')
    def test_skipped(self):
        self.assertEqual(Stack(), 1)
    @unittest.expectedFailure
    def test_expected(self):
        self.assertEqual(len(self.stack), 9)
    def test_cleanup(self):
        self.addCleanup(self.stack.items.clear)
        self.assertEqual(self.stack.top, 2)
    def helper(self, n):
        self.assertEqual(len(Stack(*range(n))), n)
    def test_helper(self):
        self.helper(1)
        self.helper(4)
""",
    ),
    "shop, patches": (
        _SHOP,
        """
import unittest
from unittest.mock import patch, MagicMock
import io, shop

class ShopTest(unittest.TestCase):
    @patch('builtins.input', side_effect=['1', '2'])
    def test_ask(self, asked):
        self.assertEqual(shop.ask(), 2)
        self.assertEqual(shop.ask(), 4)
        self.assertEqual(asked.call_count, 2)
    @patch('builtins.print')
    def test_greet(self, printed):
        shop.greet('Cy')
        printed.assert_called_once_with('Hello', 'Cy')
    @patch('shop.date')
    def test_module_name(self, fake):
        fake.fromisoformat.return_value = 5
        self.assertEqual(shop.parse('x'), 5)
    def test_out(self):
        with patch('sys.stdout', new=io.StringIO()) as out:
            shop.greet('Di')
        self.assertEqual(out.getvalue(), 'Hello Di\\n')
    def test_raises(self):
        with self.assertRaises(KeyError) as caught:
            shop.fail(KeyError, 'k')
        self.assertEqual(caught.exception.args, ('k',))
        self.assertEqual(type(caught.exception), KeyError)
    def test_warns(self):
        with self.assertWarns(DeprecationWarning):
            shop.noisy()
    async def test_later(self):
        self.fail('never awaited')

class Later(unittest.IsolatedAsyncioTestCase):
    async def test_later(self):
        self.assertEqual(await shop.later(1), 2)
""".replace("    async def test_later(self):\n        self.fail('never awaited')\n\n", "\n"),
    ),
    "pytest functions": (
        _SHOP + _STACK,
        """
import pytest
from solution import Stack, Empty, total, fail, twice

def test_total():
    assert total([1, 2]) == 3
    assert total([0.1, 0.2]) == pytest.approx(0.3)

def test_raises():
    with pytest.raises(Empty):
        Stack().pop()
    with pytest.raises(ValueError, match='bad'):
        fail(ValueError, 'bad luck')
    with pytest.raises(KeyError) as info:
        fail(KeyError, 1)
    assert info.value.args == (1,) and info.type is KeyError

@pytest.mark.parametrize('xs, want', [([1], 1), ([2, 3], 5), ([], 0)])
def test_rows(xs, want):
    assert total(xs) == want

@pytest.mark.parametrize('n', range(3))
@pytest.mark.slow
def test_one_name(n):
    assert twice(lambda v: v + n, 0) == 2 * n

class TestStack:
    def test_push(self):
        assert Stack().push(1).top == 1
    @pytest.mark.parametrize('n', [1, 2])
    def test_len(self, n):
        assert len(Stack(*range(n))) == n
""",
    ),
}

HONEST: dict[str, tuple[TestSuite, str]] = {
    **by_styles(wrong=False),
    **{
        f"{name} {n}": (suite_of(tests=[text]), program)
        for name, (program, texts) in SPECIAL.items()
        for n, text in enumerate(texts)
    },
    **{name: (suite_of(tests=tests), program) for name, (program, tests) in _UNITTESTS.items()},
    **{name: (suite_of(**fields), right) for name, (fields, right, _) in (KINDS | PYTEST_KINDS).items()},
}
WRONG: dict[str, tuple[TestSuite, str]] = {
    **by_styles(wrong=True),
    **{name: (suite_of(**fields), wrong) for name, (fields, _, wrong) in (KINDS | PYTEST_KINDS).items()},
}
"""Wrong ones of the same problems."""
