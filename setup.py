"""The compiled parts of a producer and of a collector, which are optional: without a compiler logbus is Python only.

Everything else about the package stands in pyproject.toml. A build that fails installs all the same, and says so in
one line (which pip shows with ``-v``; :mod:`scripts.native` says it to whoever works in a checkout); one of the two
that fails leaves the other. Every Python of one machine has files of its own, told apart by the suffix, so that several
use one checkout side by side.
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

#: Whose each is, and where its C is. That of one folder is one extension's.
FOLDERS = {"producers": "native", "collectors": "native/collector"}

#: Their steps rely on the GIL, and on what only CPython's headers have.
SERVED = platform.python_implementation() == "CPython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildNative(build_ext):
    """Builds each if it can be built. What a failed build leaves is nothing, not what an earlier one had made."""

    def finalize_options(self) -> None:
        """Always builds them anew: what lies in build/ may be half of one, or of other C that has older times."""
        super().finalize_options()
        self.force = True

    def build_extension(self, extension: Extension) -> None:
        """Compiles and links, or removes what is there."""
        try:
            super().build_extension(extension)
        except (BaseError, CCompilerError) as error:
            self.warn(
                f"logbus is installed without the compiled part of its {whose(extension)}, in Python only: {error}"
            )
            self._built(extension).unlink(missing_ok=True)

    def copy_extensions_to_source(self) -> None:
        """Puts each beside its Python, for a checkout that is used in place: whole, whoever starts meanwhile."""
        for extension in self.extensions:
            built = self._built(extension)
            place = Path(whose(extension), self.get_ext_filename(extension.name.rpartition(".")[2]))
            if built.exists():
                fresh = place.with_name(f"{place.stem}.{os.getpid()}.so")
                shutil.copy2(built, fresh)
                fresh.replace(place)
            else:
                place.unlink(missing_ok=True)

    def _built(self, extension: Extension) -> Path:
        return Path(self.build_lib, self.get_ext_filename(extension.name))


def whose(extension: Extension) -> str:
    """The folder of the Python that it stands beside."""
    return str(extension.name.split(".")[1])


def native(package: str, folder: str) -> Extension:
    """The extension of a package, which keeps a digest of its C and of its headers: see logbus/compiled.py."""
    sources, headers = (sorted(str(path) for path in Path(folder).glob(kind)) for kind in ("*.c", "*.h"))
    digest = f"{zlib.crc32(b''.join(Path(name).read_bytes() for name in [*sources, *headers])):08x}"
    return Extension(
        f"logbus.{package}._native",
        sources=sources,
        depends=[*headers, "setup.py"],
        define_macros=[("LB_SOURCES", f'"{digest}"')],
        extra_compile_args=[
            *("-std=c11", "-O2", "-fvisibility=hidden"),
            *("-Wall", "-Wextra", "-Wno-missing-field-initializers"),
        ],
        optional=True,
    )


setup(
    ext_modules=[native(package, folder) for package, folder in FOLDERS.items()] if SERVED else [],
    cmdclass={"build_ext": BuildNative},
)
