"""The compiled part of a producer (native/), which is optional: without a compiler logbus is Python only.

Everything else about the package stands in pyproject.toml. A build that fails installs all the same, and says so in
one line (which pip shows with ``-v``; :mod:`scripts.native` says it to whoever works in a checkout). Every Python of
one machine has a file of its own, told apart by the suffix, so that several use one checkout side by side.
"""

from __future__ import annotations

import os
import platform
import shutil
import sysconfig
import zlib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

NAME = "logbus.producers._native"
#: C and its one header, of which the extension keeps a digest: see producers/compiled.py.
SOURCES = sorted(str(path) for path in Path("native").glob("*.c"))
HEADERS = sorted(str(path) for path in Path("native").glob("*.h"))

#: Its steps rely on the GIL, and on what only CPython's headers have.
SERVED = platform.python_implementation() == "CPython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildNative(build_ext):
    """Builds it if it can be built. What a failed build leaves is nothing, not what an earlier one had made."""

    def finalize_options(self) -> None:
        """Always builds it anew: what lies in build/ may be half of one, or of other C that has older times."""
        super().finalize_options()
        self.force = True

    def build_extension(self, extension: Extension) -> None:
        """Compiles and links, or removes what is there."""
        try:
            super().build_extension(extension)
        except (BaseError, CCompilerError) as error:
            self.warn(f"logbus is installed without its compiled part, as Python only: {error}")
            self._built(extension).unlink(missing_ok=True)

    def copy_extensions_to_source(self) -> None:
        """Puts it beside the Python, for a checkout that is used in place: whole, whoever starts meanwhile."""
        for extension in self.extensions:
            built = self._built(extension)
            place = Path("producers", self.get_ext_filename(extension.name.rpartition(".")[2]))
            if built.exists():
                fresh = place.with_name(f"{place.stem}.{os.getpid()}.so")
                shutil.copy2(built, fresh)
                fresh.replace(place)
            else:
                place.unlink(missing_ok=True)

    def _built(self, extension: Extension) -> Path:
        return Path(self.build_lib, self.get_ext_filename(extension.name))


digest = f"{zlib.crc32(b''.join(Path(name).read_bytes() for name in [*SOURCES, *HEADERS])):08x}"
native = Extension(
    NAME,
    sources=SOURCES,
    depends=[*HEADERS, "setup.py"],
    define_macros=[("LB_SOURCES", f'"{digest}"')],
    extra_compile_args=[
        *("-std=c11", "-O2", "-fvisibility=hidden"),
        *("-Wall", "-Wextra", "-Wno-missing-field-initializers"),
    ],
    optional=True,
)
setup(ext_modules=[native] if SERVED else [], cmdclass={"build_ext": BuildNative})
