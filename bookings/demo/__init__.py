"""The demo cinema: four rooms, ten films that do not exist and a week's programme, all from files beside this one."""

from bookings.demo.loader import Loaded, load_demo

__all__ = ["Loaded", "load_demo"]
