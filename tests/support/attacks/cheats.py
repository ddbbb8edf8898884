"""Answers that are not the program's own."""

from __future__ import annotations

from tests.support.attacks.common import SCAN, Attack

FRAMES = """
import gc, sys
def look(x):
    text = x if isinstance(x, str) else str(x)[:100_000] if isinstance(x, (bytes, list, tuple, dict)) else ''
    place = text.find('the-' + 'answer-')
    while place >= 0 and not text[place + 11:place + 12].isalnum(): place = text.find('the-' + 'answer-', place + 1)
    return text[place:place + @LENGTH@] if place >= 0 else None
def attack():
    frame = sys._getframe()
    while frame:
        for x in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if look(x): return look(x)
        frame = frame.f_back
    for x in gc.get_objects():
        for y in list(x.values()) if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ():
            if isinstance(y, (str, bytes)) and look(y): return look(y)
"""


CHEATS = [
    Attack(
        "answers",
        "looks for the answer in frames and objects",
        "it is not in this process",
        FRAMES,
        wants="steal",
    ),
    Attack(
        "answers",
        "looks for the answer, or an earlier program's, in all of its memory",
        "nothing of a program passes through the lane",
        SCAN
        + """
def attack():
    for text in scan(b'the-' + b'answer-', 1 << 25):
        if text[:1].isalnum(): return 'the-answer-' + text[:@LENGTH@ - 11].decode('latin-1')
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "looks for the answer in its descriptors",
        "none leads to the judge",
        """
import os
def attack():
    for fd in range(1, 256):
        for read in (lambda: os.pread(fd, 10 ** 6, 0), lambda: os.read(fd, 10 ** 6)):
            try:
                if fd in (0, 4): continue
                text = read()
            except OSError: continue
            place = text.find(b'the-' + b'answer-')
            if place >= 0: return text[place:place + @LENGTH@].decode()
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "looks for a secret in the environment",
        "the lane starts without one",
        """
import ctypes, os
def attack():
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    return os.environ.get('ATTACK_ANSWER') or (libc.getenv(b'ATTACK_ANSWER') or b'').decode()
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "asks the one who asks it",
        "test code has nothing to give: proxies hold no values",
        """
import json, os
def attack():
    message = json.dumps(['get', 0, '__globals__']).encode()
    os.write(4, len(message).to_bytes(4, 'little') + message)
    return os.read(4, 10 ** 6).decode('latin-1')
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "answers",
        "an object equal to everything",
        "only plain data leaves the process",
        """
class A:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = object.__hash__
    def __contains__(self, x): return True
    def __bool__(self): return True
def attack():
    return A()
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "a string that is equal to everything",
        "its characters are what counts",
        """
class A(str):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = str.__hash__
    def __str__(self): return self
    def __len__(self): return @LENGTH@
def attack():
    return A('x')
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "patched builtins and modules",
        "the judge and the test code run elsewhere",
        """
import builtins, json, math, os, sys
class Yes:
    def __eq__(self, other): return True
builtins.AssertionError = Exception
builtins.repr = builtins.str = lambda x: Yes()
math.isclose = lambda *a, **k: True
sys.modules['operator'] = sys.modules['math']
def attack():
    return 'nothing'
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "patched harness",
        "the harness in this process knows no answer",
        """
import gc, sys
def attack():
    frame = sys._getframe()
    while frame:
        for name in ('match', 'equal', 'texts_match', 'values_match', '_verdict', 'cpu_us'):
            frame.f_globals[name] = lambda *a: True
        frame = frame.f_back
    return 'nothing'
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "forged report",
        "what the report says is compared like anything else",
        r"""
import os
def attack():
    for line in (b'[0,1,0]', b'["pass"]', b'{"outcome":"pass"}', b'[0,1,"the-answer"]', b'"end"'):
        os.write(3, line + b'\n')
    os._exit(0)
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "forged places of its output",
        "checked against the output's size",
        r"""
import os
def attack():
    os.write(3, b'[0,1,999999999]\n[0,1,-5]\n[0,1,1e400]\n[0,NaN,0]\n"end"\n')
    os._exit(0)
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "a report that breaks its reader",
        "read as data, with bounds",
        r"""
import os
def attack():
    os.write(3, b'[' * 1_000_000 + b'\n' + b'[0,' + b'9' * 100_000 + b',0]\n' + b'\xff\0\n' * 1000)
    os._exit(0)
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "garbage in every descriptor",
        "none leads to the judge or the lane",
        r"""
import os
def attack():
    for fd in range(3, 256):
        try: os.write(fd, b'\xff[[[[\0' * 10000)
        except OSError: pass
    os._exit(0)
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "forged answers to the test code",
        "values are data; the test code compares",
        r"""
import os
def attack():
    for text in (b'[]', b'["stop"]', b'["ok",{"h":0}]', b'["error","AssertionError",1,"",""]', b'nonsense'):
        os.write(4, len(text).to_bytes(4, 'little') + text)
    os.write(4, b'\xff\xff\xff\x7f')
    os._exit(0)
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "leaves before it is judged",
        "output decides, and there is none",
        """
import os
def attack():
    os._exit(0)
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "SystemExit in every way",
        "output decides, and there is none",
        """
import atexit, sys
sys.excepthook = lambda *a: None
atexit.register(print, 'nothing')
def attack():
    raise SystemExit(0)
""",
        wants="steal",
    ),
    Attack(
        "answers",
        "statuses that mean something to the judge",
        "they cost the program its test, nothing else",
        r"""
import os, random
def attack():
    os.write(3, b'["setup", "broken"]\n')
    try: os.write(7, b'broken')
    except OSError: pass
    os._exit(99)
""",
        wants="harm",
    ),
    Attack(
        "answers",
        "a fake failure of the harness",
        "they cost the program its test, nothing else",
        """
import os
def attack():
    os._exit(98)
""",
        wants="harm",
    ),
    Attack(
        "answers",
        "a fake time limit",
        "runtime error either way",
        """
import os
def attack():
    os._exit(27)
""",
        wants="harm",
    ),
    Attack(
        "answers",
        "exceptions that cannot be shown",
        "their text is read with care, in their own process",
        r"""
class E(BaseException):
    def __str__(self): raise E
    __repr__ = __str__
E.__name__ = '\udc80' * 1000
def attack():
    raise E
""",
        wants="harm",
    ),
]
