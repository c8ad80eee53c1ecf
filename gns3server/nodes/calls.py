"""Calls into the code of a node's plugin: limited in time, with failures reported by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from gns3server.calls import on_behalf_of
from gns3server.errors import LabError, PluginFault, Unavailable, advice
from gns3server.nodes.holding import holding
from gns3server.nodes.limits import AuthorCall, is_core_code
from gns3server.nodes.project_base import ProjectBase

T = TypeVar("T")


class NodeCalls:
    """The calls into one node's plugin.

    A call that takes too long is cancelled and abandoned. Until it has really ended, its method is
    not called again, and :meth:`check` refuses requests. A hang or an error is logged and told to
    listeners, with the names of the plugin and the method.

    :param node: whose methods are called.
    """

    def __init__(self, node: Any, project: ProjectBase) -> None:
        self._node = node
        self._project = project
        self._abandoned: dict[str, AuthorCall] = {}
        self._failure: LabError | None = None

    def is_overridden(self, method: str) -> bool:
        """Whether the plugin overrides a method."""
        return not is_core_code(getattr(self._node, method))

    async def run(
        self, method: str, *args: Any, expect: type[T] | None = None, least: float = 0.0
    ) -> Any:
        """Call a method of the node; the core's own methods have no limit.

        :param expect: what it has to return.
        :param least: seconds that it may take in any case, unless the server is stopping.
        :raises Unavailable: it took too long, or an earlier call to it has not ended yet.
        :raises PluginFault: it has failed.
        :raises gns3server.errors.LabError: the method raised it.
        """
        function = getattr(self._node, method)
        if is_core_code(function):
            return await function(*args)
        plugin = self._project.plugin_of(self._node.type.name)
        return await self.run_function(plugin, method, function, *args, expect=expect, least=least)

    async def run_function(
        self,
        plugin: str,
        method: str,
        function: Callable[..., Awaitable[Any]],
        *args: Any,
        expect: type[T] | None = None,
        least: float = 0.0,
    ) -> Any:
        """Call a plugin's function about the node; see :meth:`run`."""
        earlier = self._abandoned.get(method)
        if earlier is not None:
            raise self._still_busy(earlier)
        name = f"The plugin {plugin!r}, in {method} of {self._node.title},"
        with on_behalf_of(plugin), holding(self._project.id, self._node.id):
            call = AuthorCall(name, self._project.limits, partial(function, *args), least)
            try:
                in_time = await call.wait()
            finally:
                if call.active:
                    self._abandoned[method] = call
                    call.task.add_done_callback(lambda _: self._abandoned.pop(method, None))
        if not in_time:
            message = f"{name} did not return within {call.seconds:g} seconds, and was given up."
            await self._project.report(self._node.id, message)
            raise Unavailable(f"{message} {self._node.title} can be used again once the call ends.")
        return await self._result(call, expect)

    async def _result(self, call: AuthorCall, expect: type[T] | None) -> Any:
        try:
            result = call.result()
            if expect is not None and not isinstance(result, expect):
                raise TypeError(f"it returned {result!r:.80}, not {expect.__name__}")
        except PluginFault as known:
            if not known.reported:
                await self._report(known, known.message)
            raise
        except LabError:
            raise
        except BaseException as error:
            if isinstance(error, OSError) and advice(error):
                # The machine has run out of something; the plugin is not to blame.
                raise
            fault = PluginFault(f"{call.name} has failed.")
            await self._report(fault, f"{fault.message} The server's log says how.")
            raise fault from error
        return result

    async def _report(self, fault: PluginFault, message: str) -> None:
        # Once only: it may pass through the calls that this one was made from.
        fault.reported = True
        await self._project.report(self._node.id, message)

    async def settle(self) -> None:
        """Have the plugin settle; if it fails, :meth:`check` tells the next request."""
        self._failure = None
        try:
            await self.run("settle")
        except LabError as failure:
            self._failure = failure

    def check(self) -> None:
        """Refuse a request while a call that was given up has not ended.

        :raises Unavailable: names plugin and method.
        :raises gns3server.errors.LabError: the error that :meth:`settle` failed with.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        for call in self._abandoned.values():
            raise self._still_busy(call)

    def _still_busy(self, call: AuthorCall) -> Unavailable:
        return Unavailable(
            f"{call.name} did not return in time, and has not ended yet: try again later, or "
            "close the project and open it again."
        )
