"""Test code that was once judged otherwise than plain Python does: a right and a wrong program for each."""

from __future__ import annotations

from typing import Any

KINDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "array": (
        {
            "tests": """from array import array
def check(c):
    r = c(array('i', [1, 2]))
    assert r == array('i', [2, 4])
    assert r.typecode == 'i'
""",
            "entry_point": "doubled",
        },
        """from array import array
def doubled(a):
    return array(a.typecode, [2 * x for x in a])
""",
        """from array import array
def doubled(a):
    return array('d', [2 * x for x in a])
""",
    ),
    "tests call the patched input themselves": (
        {
            "tests": """from unittest.mock import patch
def check(c):
    with patch('builtins.input', side_effect=['1', '2']):
        assert c() == 2
        assert input() == '2'
""",
            "entry_point": "ask",
        },
        """def ask():
    return int(input()) + 1
""",
        """def ask():
    return int(input())
""",
    ),
    "a local that shadows a builtin": (
        {
            "tests": """def check(candidate):
    list = [1, 5, 2]
    max = 5
    assert candidate(list) == max
    len = 3
    assert len == 3
""",
            "entry_point": "f",
        },
        """def f(xs):
    return max(xs)
""",
        """def f(xs):
    return min(xs)
""",
    ),
    "setUpModule": (
        {
            "tests": """import unittest
from solution import inc
STATE = {}
def setUpModule():
    STATE['n'] = 1
class T(unittest.TestCase):
    def test_state(self):
        self.assertEqual(inc(STATE['n']), 2)
"""
        },
        """def inc(n): return n + 1
""",
        """def inc(n): return n
""",
    ),
    "exception groups": (
        {
            "tests": """def check(c):
    seen = []
    try:
        c()
    except* ValueError as g:
        seen.append(len(g.exceptions))
    except* KeyError as g:
        seen.append('key')
    assert seen == [1, 'key']
""",
            "entry_point": "many",
        },
        """def many(): raise ExceptionGroup('g', [ValueError(1), KeyError(2)])
""",
        """def many(): raise ExceptionGroup('g', [ValueError(1)])
""",
    ),
    "total_ordering": (
        {
            "tests": """def check(c):
    assert c('1.10') > c('1.9') and c('1.0') >= c('1.0')
    assert c('10') > 9 and c('2') < 10
    assert max(c('1.2'), c('1.10')).p == (1, 10)
""",
            "entry_point": "Ver",
        },
        """import functools
@functools.total_ordering
class Ver:
    def __init__(s, t): s.p = tuple(map(int, str(t).split('.')))
    def __eq__(s, o): return s.p == (o.p if isinstance(o, Ver) else (o,))
    def __lt__(s, o): return s.p < (o.p if isinstance(o, Ver) else (o,))
""",
        """import functools
@functools.total_ordering
class Ver:
    def __init__(s, t): s.p = str(t)
    def __eq__(s, o): return s.p == (o.p if isinstance(o, Ver) else str(o))
    def __lt__(s, o): return s.p < (o.p if isinstance(o, Ver) else str(o))
""",
    ),
    "own number class": (
        {
            "tests": """def check(c):
    assert c(350, 10) == 20
    assert abs(c(10, 350) + 20) < 1e-9
    assert c(0, 90) - 45 == 45
    assert c(0, 90) > 45
""",
            "entry_point": "turn",
        },
        """class Deg(float):
    def __sub__(s, o): return Deg((float(s) - float(o) + 180) % 360 - 180)
def turn(a, b): return Deg(b) - a
""",
        """class Deg(float):
    def __sub__(s, o): return Deg(float(s) - float(o))
def turn(a, b): return Deg(b) - a
""",
    ),
    "own containers": (
        {
            "tests": """def check(c):
    b = c()
    b.add('x')
    assert 'x' in b
    b.drop('x')
    assert 'x' not in b
    assert b == {'x': 0} and len(b) == 1
""",
            "entry_point": "bag",
        },
        """class Bag(dict):
    def __contains__(s, k): return dict.get(s, k, 0) > 0
    def add(s, k): s[k] = dict.get(s, k, 0) + 1
    def drop(s, k): s[k] = dict.get(s, k, 0) - 1
def bag(): return Bag()
""",
        """class Bag(dict):
    def add(s, k): s[k] = dict.get(s, k, 0) + 1
    def drop(s, k): s[k] = dict.get(s, k, 0) - 1
def bag(): return Bag()
""",
    ),
    "unittest addCleanup, tearDown order, skipTest, assertions": (
        {
            "tests": """import unittest
from solution import D
class T(unittest.TestCase):
    def setUp(self):
        self.d = D()
        self.addCleanup(self.d.clear)
    def test_add(self):
        self.d.add('a'); self.d.add('a')
        self.assertDictEqual(self.d, {'a': 2})
        self.assertEqual(self.d, D(a=2))
        self.assertCountEqual(self.d, ['a'])
        self.assertSequenceEqual(list(self.d.items()), [('a', 2)])
        self.assertNotIn('b', self.d, msg='b')
        self.assertTupleEqual(tuple(self.d), ('a',))
        self.assertSetEqual(set(self.d), {'a'})
        self.assertIsNone(self.d.get('z'))
        self.assertAlmostEqual(self.d['a'], 2.0004, delta=.01)
        self.assertGreaterEqual(self.d['a'], 2); self.assertLess(self.d['a'], 3)
    def test_skip(self):
        if not self.d: self.skipTest('empty')
        self.fail()
    def test_len(self):
        self.assertEqual(len(self.d), 0)
        self.assertFalse(self.d, 'empty')
        self.assertNotEqual(self.d, {'x': 1})
"""
        },
        """class D(dict):
    def add(self, k): self[k] = self.get(k, 0) + 1
""",
        """class D(dict):
    def add(self, k): self[k] = 1
""",
    ),
}
"""Name -> fields of the problem, right program, wrong program."""
