"""Kubernetes' quantities (500m, 2Gi) and times."""
import datetime

_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
          "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def number(quantity):
    """The value of a quantity: number("500m") is 0.5."""
    text = str(quantity)
    unit = text.lstrip("0123456789.-+")
    return float(text[:len(text) - len(unit)]) * _UNITS[unit]


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
