const socket = new WebSocket(`ws://${location.host}/front/echo`);
socket.onopen = () => socket.send("hello");
