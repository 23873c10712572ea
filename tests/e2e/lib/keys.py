"""Keys and clicks, as WebDriver and the DevTools protocol describe them."""

# By name: the character of WebDriver, the code of Windows, and the text that it types.
KEYS = {
    "Tab": ("\ue004", 9, ""), "Enter": ("\ue007", 13, "\r"), "End": ("\ue010", 35, ""), "Home": ("\ue011", 36, ""),
    "ArrowUp": ("\ue013", 38, ""), "ArrowDown": ("\ue015", 40, ""),
}


def action(key):
    """The actions of WebDriver that press a key."""
    return {"type": "key", "id": "keyboard", "actions": [
        {"type": step, "value": KEYS[key][0]} for step in ("keyDown", "keyUp")]}


def click(x, y):
    """The actions of WebDriver that click at a point of the window."""
    return {"type": "pointer", "id": "mouse", "actions": [
        {"type": "pointerMove", "x": round(x), "y": round(y)}, {"type": "pointerDown", "button": 0},
        {"type": "pointerUp", "button": 0}]}
